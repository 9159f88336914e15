"""Every contract between the parts, pure pydantic."""

if __name__ != "gtftd.schemas":  # reached through gtftd/schemas; one file, one name
    raise ImportError("import gtftd.schemas")
