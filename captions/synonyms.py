"""Our own small table of names that mean the same thing; what it names, no other word list is asked about.

Each line is a group of names of one kind of object, in the singular. Only names that a person would accept
as a caption's word for the thing stand here: no broader, no narrower ones.
"""

import hashlib
from typing import Final

GROUPS: Final = (
    ("airplane", "aeroplane", "aircraft", "plane"),
    ("animal", "creature"),
    ("backpack", "knapsack", "rucksack"),
    ("bag", "sack"),
    ("bathtub", "bath", "tub"),
    ("bike", "bicycle"),
    ("bookcase", "bookshelf"),
    ("bouquet", "bunch of flowers"),
    ("cabinet", "cupboard"),
    ("camera", "photo camera"),
    ("car", "automobile"),
    ("cell phone", "cellphone", "mobile phone", "smartphone"),
    ("chest of drawers", "bureau", "dresser", "drawer chest"),
    ("clothing", "clothes", "garment"),
    ("coffee maker", "coffee machine"),
    ("computer", "pc"),
    ("cooktop", "hob", "stovetop", "stove top"),
    ("couch", "settee", "sofa"),
    ("deck chair", "beach chair", "deckchair", "lounge chair", "sun lounger"),
    ("drinking glass", "glass", "tumbler"),
    ("electrical outlet", "electric outlet", "outlet", "power outlet", "socket", "wall socket"),
    ("exercise machine", "gym machine", "fitness machine"),
    ("faucet", "tap"),
    ("fridge", "refrigerator"),
    ("handbag", "purse"),
    ("jewellery", "jewelry"),
    ("kitchen utensil", "cooking utensil"),
    ("light switch", "wall switch"),
    ("monitor", "computer monitor", "computer screen", "screen"),
    ("motorcycle", "motorbike"),
    ("pendant lamp", "ceiling lamp", "hanging lamp", "hanging light", "pendant light"),
    ("person", "human", "human being"),
    ("phone", "telephone"),
    ("piano", "pianoforte"),
    ("plate", "dish"),
    ("plant", "flora"),
    ("potted plant", "house plant", "houseplant", "plant in a pot", "pot plant"),
    ("radiator", "heater"),
    ("railing", "handrail", "rail"),
    ("rug", "carpet"),
    ("sink", "basin", "wash basin", "washbasin"),
    ("stove", "cooker"),
    ("street lamp", "lamp post", "lamppost", "street light", "streetlight"),
    ("television", "television set", "tv", "tv set"),
    ("toilet", "lavatory"),
    ("trash can", "dustbin", "garbage can", "rubbish bin", "trash bin", "waste bin"),
    ("truck", "lorry"),
    ("wardrobe", "armoire"),
    ("washing machine", "washer"),
)

SYNONYMS: Final = {name: [other for other in group if other != name] for group in GROUPS for name in group}
"""Name -> the other names of its group; a name stands in one group alone."""

VERSION: Final = hashlib.sha256(repr(GROUPS).encode()).hexdigest()[:8]
"""Tells which table judged the captions of a dataset."""
