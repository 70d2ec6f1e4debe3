package text

import (
	"bytes"
	"slices"
)

var (
	selSender         = MustSelector("X-Sender:first:addr")
	selReceived       = MustSelector("Received")
	selXEnvelopeFrom  = MustSelector("X-Envelope-From:first:addr")
	selEnvelopeSender = MustSelector("Envelope-Sender:first:addr")
	selReturnPath     = MustSelector("Return-Path:first:addr")
	selEnvelopeHost   = MustSelector("EnvelopeFrom:first:addr:host")
	selFromHost       = MustSelector("From:addr:host")
)

// EnvelopeFrom gives the envelope's sender without angle brackets, empty for the null reverse-path: that of the SMTP dialog
// where there was one, else what the fields tell of it. ok is false where they tell nothing that can be relied on.
func (m *Message) EnvelopeFrom() (from []byte, ok bool) {
	if m.opt.HasEnvelope {
		return []byte(m.opt.From.String()), true
	}
	r := m.near()
	hop := (*Relay)(nil)
	switch {
	case len(r.Untrusted) > 0:
		hop = &r.Untrusted[0]
	case len(r.Trusted) > 0:
		hop = &r.Trusted[len(r.Trusted)-1]
	}
	if hop != nil && hop.HasEnvFrom {
		env := []byte(hop.EnvFrom)
		if len(env) == 0 || bytes.IndexByte(env, '@') > 0 {
			return env, true
		}
	}
	// Fetchmail takes the X-Sender of mailing lists for the sender, and tells others so.
	if s := m.Values(selSender); len(s) > 0 && bytes.IndexByte(s[0], '@') >= 0 {
		for _, v := range m.Values(selReceived) {
			if bytes.Contains(v, []byte("(fetchmail")) {
				return nil, false
			}
		}
	}
	// A field that stands below a Received field was written by an earlier host, perhaps before a list resent the message.
	for i, s := range [...]Selector{selXEnvelopeFrom, selEnvelopeSender, selReturnPath} {
		v := m.Values(s)
		if len(v) == 0 {
			continue
		}
		if !m.readHead().belowReceived(s.s.low) {
			return v[0], true
		}
		if i == 0 {
			return nil, false
		}
	}
	return nil, false
}

// belowReceived reports whether a field of that name stands below a Received field.
func (h *header) belowReceived(low string) bool {
	seen, received, hash := false, nameHash("received"), nameHash(low)
	for i := range h.fields {
		f := &h.fields[i]
		switch {
		case f.is("received", received):
			seen = true
		case seen && f.is(low, hash):
			return true
		}
	}
	return false
}

// derived gives fields that are none of the message but tell something of it: the domains of sender and authors.
func (m *Message) derived(low string) [][]byte {
	switch low {
	case "x-senderdomain":
		if v := m.Values(selEnvelopeHost); len(v) > 0 {
			return [][]byte{bytes.ToLower(v[0])}
		}
	case "x-authordomain":
		var all [][]byte
		for _, v := range m.Values(selFromHost) {
			if v = bytes.ToLower(v); !slices.ContainsFunc(all, func(o []byte) bool { return bytes.Equal(o, v) }) {
				all = append(all, v)
			}
		}
		return one(bytes.Join(all, []byte(" ")))
	}
	return nil
}
