import logging

# On some CPUs bitsandbytes advises, whenever it is imported, to install a package that fetches code from the
# hub.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
