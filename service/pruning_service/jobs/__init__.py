"""Jobs: their records in stores, the leases that processes hold on them, and operations as callers see them."""
