"""What a Dockerfile and its .dockerignore say, as BuildKit reads them, and the rules that buildsys adds."""
