"""A report: one HTML page of results, for a browser, a phone and paper. It needs neither network
nor script, and every text that came from a file is escaped."""
