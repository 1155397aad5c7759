"""Files that are written completely or not at all, and that are checked when they are read.

``files`` writes files, ``tensorfile`` reads safetensors in bounded memory, ``archive`` stores documents with arrays in
such a file, and ``folderlock`` lets one run at a time write into a folder.
This room knows nothing of what is stored, and imports no other room.
"""
