"""What a person looks at: contact sheets, the dataset card and the report's page."""
