"""The daily report: figures of one local day, stored roll-ups, and the trend over them."""
