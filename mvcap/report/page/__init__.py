"""The page that a person looks at: `report/index.html`, one file that needs no network."""
