"""The functions of the domain, one file a concept. Each takes a unit of work first, and none commits."""
