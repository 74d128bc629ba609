"""Elements of JSON values with their paths, for several tests."""

from collections.abc import Iterator


def find_paths(value: object, path: str = "$") -> Iterator[tuple[str, object]]:
    """Yield each element of ``value`` with its path, as far as paths reach."""
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            if key and '"' not in key and "\\" not in key:
                yield from find_paths(inner, f'{path}."{key}"')
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from find_paths(inner, f"{path}[{index}]")
