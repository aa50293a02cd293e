"""The HTTP edge: FastAPI and Starlette in, bytes out."""
