package text

import "sync/atomic"

// Cut says which of a message was not looked at whole, because it was more than the bounds allow.
type Cut uint32

const (
	CutBody   Cut = 1 << iota // the rendered text of a part; see Options.BodyScan
	CutRaw                    // the raw text of a part; see Options.RawBodyScan
	CutParts                  // a part that is read as text is longer than what is decoded, alone or with those before it
	CutLinks                  // links, or their texts
	CutFull                   // the message, as rules of the kind full see it, by more than the ends of attachments
	CutHeader                 // the header fields
)

// String names what was cut, with blanks between.
func (c Cut) String() (s string) {
	for i, name := range [...]string{"body", "rawbody", "parts", "links", "full", "header"} {
		if c&(1<<i) != 0 {
			if s != "" {
				s += " "
			}
			s += name
		}
	}
	return s
}

// Cut gives what was not looked at whole of what was computed so far. Nobody may call the rest clean.
func (m *Message) Cut() Cut { return Cut(atomic.LoadUint32(&m.known.cuts)) }

// LeaveOut tells that somebody who judges the message leaves out more of it, for the bounds of his own.
func (m *Message) LeaveOut(c Cut) { m.known.cut(c) }

func (k *known) cut(c Cut) {
	if atomic.LoadUint32(&k.cuts)&uint32(c) == 0 {
		atomic.OrUint32(&k.cuts, uint32(c))
	}
}
