import pytest


@pytest.fixture
def write(tmp_path):
    """Write a file and give its path."""

    def write_file(content, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write_file
