import logging
import os

# On some CPUs bitsandbytes advises, whenever it is imported, to install a package that fetches code from the
# hub.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
# Batches differ in length: without it the blocks of freed GPU memory fit no other. Read when CUDA starts.
if "PYTORCH_CUDA_ALLOC_CONF" not in os.environ:  # its older name
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
