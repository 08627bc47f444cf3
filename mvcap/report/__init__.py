"""What a person looks at: contact sheets and the dataset card."""
