import sys

from src.model.libraries import libraries_fault

# Here, because with such a library the imports of this package fail, by a sentence that does not help.
if fault := libraries_fault():
    sys.exit(f"error: {fault}")
