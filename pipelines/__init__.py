"""Stages composed into verbs, and the runners that execute them."""
