"""Every reaction of the daemon, one file each."""

if __name__ != "gtftd.handlers":  # reached through gtftd/handlers; one file, one name
    raise ImportError("import gtftd.handlers")
