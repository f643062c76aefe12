"""The calls of an endpoint other than chat and completion: model lists, embeddings, reranking, health, etc."""
