"""The kinds of transactions that write: what one is for decides what it locks and waits for."""

from enum import Enum, auto


class Kind(Enum):
    """What a transaction that writes is for."""

    APPEND = auto()  # locks the head, and nothing else; goes before other writers of its process
    OWN = auto()  # of a lane's owner, which locks that lane; does not wait for the disk
    LEASE = auto()  # locks the lanes that nobody else has locked; holds up nobody
    STEER = auto()  # what operators and workers do now and then, one at a time in all processes
