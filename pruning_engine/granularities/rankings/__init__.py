"""Rankings of entries, blocks of entries and units: what each granularity puts to work. See `granularities.ranking`."""
