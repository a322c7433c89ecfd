"""What channels build on: texts, bodies, and requests that go nowhere they must not."""
