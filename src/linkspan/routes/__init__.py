"""Every call beside chat and completion, at one endpoint: lists of models, embeddings, rerank, health."""
