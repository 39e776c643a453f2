"""Work on files that needs no server: pack, unpack, apply masks, inspect."""
