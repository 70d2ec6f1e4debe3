package text

// heads is what was computed of the header fields and relays.
type heads struct{}
