// Package text gives a message as spam rules see it: the rendered body, the raw body, the URIs, facts about its HTML and its
// header fields, each computed once on need; it holds no rule, judges nothing and asks no network.
package text

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-mail/postern/mail"
)

// Options say whose networks are trusted, where the message comes from, and how much of it is looked at. The zero value
// trusts nobody and has SpamAssassin's bounds.
type Options struct {
	Trusted  Networks // networks whose Received fields are believed (trusted_networks)
	Internal Networks // of these, those that are ours (internal_networks)
	MSA      Networks // of these, those whose clients are our users (msa_networks)

	Client Client // who hands the message over; the newest hop, for which no Received field stands in it yet

	// Originating names the fields in which some services tell of their user's address; nil: those that SpamAssassin's stock
	// rules name.
	Originating []string

	From        mail.Address // the reverse-path
	HasEnvelope bool         // From is known, and not only the null reverse-path by default

	TLDs       *TLDs      // the top-level domains that make a host name of a word in a text; nil: DefaultTLDs
	Redirector Redirector // finds where redirectors lead; nil: only URIs within URIs are found. Comparable, such as a pointer

	BodyScan    int // octets of each part that are rendered (body_part_scan_size); default 50 000, negative: all
	RawBodyScan int // octets of each part in the raw body (rawbody_part_scan_size); default 500 000, negative: all
}

// Client is the hop that hands a message over, as the server knows it. The zero value means that there is none.
type Client struct {
	Addr  netip.Addr // its address, unmapped; not valid where there is no such hop
	Name  string     // the name of its address that its address confirms, "" for none
	Helo  string     // what it said in EHLO or HELO
	ESMTP bool       // it said EHLO
	TLS   bool       // the connection is encrypted
	Login string     // as whom it has authenticated itself, "" for nobody
	By    string     // the name of the server it speaks to
	ID    string     // the server's id of the transaction
	Time  time.Time  // when it handed the message over, zero where that is not known
}

// equal reports whether two Options make the same Message of a content.
func (o *Options) equal(p *Options) bool {
	return slices.Equal(o.Trusted, p.Trusted) && slices.Equal(o.Internal, p.Internal) && slices.Equal(o.MSA, p.MSA) &&
		slices.Equal(o.Originating, p.Originating) && (o.Originating == nil) == (p.Originating == nil) &&
		o.Client == p.Client && o.From == p.From && o.HasEnvelope == p.HasEnvelope && o.TLDs == p.TLDs && o.Redirector == p.Redirector &&
		o.BodyScan == p.BodyScan && o.RawBodyScan == p.RawBodyScan
}

// rendersAs reports whether two Options make the same texts of a content: all but header fields and relays.
func (o *Options) rendersAs(p *Options) bool {
	return o.TLDs == p.TLDs && o.Redirector == p.Redirector && o.BodyScan == p.BodyScan && o.RawBodyScan == p.RawBodyScan
}

// Message is a content as rules see it. All of it is safe for concurrent use; what it gives is shared by all who ask, and
// must not be changed. Texts have LF line ends.
type Message struct {
	content *mail.Content
	opt     Options
	heads   heads // header fields and relays

	made  *made
	shown shown
	known *known
}

// made is what is computed of a content but for header fields and relays.
type made struct {
	full   lazy[[]byte]
	leaves lazy[[]*TextPart]
	body   lazy[paragraphs]
	raw    lazy[[][]byte]
	html   lazy[[]*HTML]
	uris   lazy[*uriList]
	links  lazy[*uriList]
	lines  lazy[[][]byte] // of uris
}

// known are the Messages that were made of a content. They share what they have computed, and what went wrong with it.
type known struct {
	mu   sync.Mutex
	all  []*Message
	err  atomic.Pointer[error]
	cuts uint32 // Cut
}

// maxKnown is how many Messages of a content are remembered; one for each set of rules that has networks of its own.
const maxKnown = 16

// Of gives the Message of a content. It is the same one, and what was computed for it stays, as long as the options are the
// same; those that differ in networks and hops only share all but header fields and relays.
func Of(c *mail.Content, o Options) *Message {
	if o.TLDs == nil {
		o.TLDs = DefaultTLDs
	}
	k := mail.Memo(c, "text: messages", func() *known { return &known{} })
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range k.all {
		if m.opt.equal(&o) {
			return m
		}
	}
	m := newMessage(c, o, k)
	for _, other := range k.all {
		if other.opt.rendersAs(&o) {
			m.made = other.made
			break
		}
	}
	if len(k.all) < maxKnown {
		k.all = append(k.all, m)
	}
	return m
}

func newMessage(c *mail.Content, o Options, k *known) *Message {
	return &Message{content: c, opt: o, known: k, made: &made{}}
}

// Fresh gives a Message of the same content and options of which nothing was computed. What is known of the content's faults by then
// stays known. Whoever drops m for it keeps no text.
func (m *Message) Fresh() *Message {
	k := &known{cuts: atomic.LoadUint32(&m.known.cuts)}
	k.err.Store(m.known.err.Load())
	return newMessage(m.content, m.opt, k)
}

// Content gives the content that m is a view of.
func (m *Message) Content() *mail.Content { return m.content }

// Err gives the first read error that was met while something was computed, and nil while nothing was. What was computed is
// not the message's then, and nothing may be said of it; see mail.Content.
func (m *Message) Err() error {
	if p := m.known.err.Load(); p != nil {
		return *p
	}
	return m.content.Err()
}

func (m *Message) fail(err error) {
	err = fmt.Errorf("text: read content: %w", err)
	m.known.err.CompareAndSwap(nil, &err)
}

// Options gives the options that m was made with.
func (m *Message) Options() Options { return m.opt }

// Full gives the whole message, header and body, undecoded, with LF line ends, as rules of the kind full see it.
func (m *Message) Full() []byte { return m.made.full.get(m.readFull) }

// Body gives the rendered text in paragraphs, each of which ends in LF; the first is the subject's, and there in any case.
func (m *Message) Body() [][]byte { return m.paragraphed().all }

func (m *Message) paragraphed() paragraphs { return m.made.body.get(m.renderBody) }

// RawBody gives the text of the parts, decoded and not rendered, in the pieces that rules of the kind rawbody see.
func (m *Message) RawBody() [][]byte { return m.made.raw.get(m.chunkBody) }

// Parts gives the leaves of the MIME structure.
func (m *Message) Parts() []*TextPart { return m.made.leaves.get(m.readParts) }

// HTML gives the facts about each part of HTML, in the order of the content.
func (m *Message) HTML() []*HTML { return m.made.html.get(m.readHTML) }

// URIs gives the URIs of the message, each once: those of the text, then those of HTML, then DKIM domains.
func (m *Message) URIs() []URI { return m.uris().all }

func (m *Message) uris() *uriList { return m.made.uris.get(m.findURIs) }

// URITexts gives the variants of all URIs, each once, as rules of the kind uri see them.
func (m *Message) URITexts() [][]byte {
	return m.made.lines.get(func() [][]byte { return m.uris().strings() })
}

// URIsTruncated reports whether URIs were left out, or cut off.
func (m *Message) URIsTruncated() bool { return m.uris().truncated }
