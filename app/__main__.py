"""`python -m app`, also installed as `gengfu`."""

from app.cli import gengfu


def main() -> None:
    """Run the command line; exits with the codes of app.core.errors.ExitCode."""
    gengfu(prog_name="gengfu")


if __name__ == "__main__":
    main()
