"""Files: written whole or not at all, and read without trust.

``files`` writes, ``tensorfile`` reads and writes safetensors, ``archive`` puts documents with arrays into such a file,
and ``folderlock`` lets one run at a time write into a folder. This room knows nothing of what is stored.
"""
