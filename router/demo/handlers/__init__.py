"""The plugins of the demo. Each file is one, and is copied into the demo's own folder to run."""
