"""bakeoff: change the retrieval of a RAG system in production without fear."""

__version__ = "0.1.0"
