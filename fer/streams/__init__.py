"""One stream's memory: who is who, steadiness in time, where to look next."""
