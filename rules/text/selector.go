package text

import (
	"fmt"
	"strings"
	"sync"
)

// Selector names what a header rule looks at: a field, or one of the pseudo-fields, and what is to be read of it. Selectors
// are comparable; two that were parsed from the same text are the same. The zero Selector selects nothing.
type Selector struct{ s *selector }

// selector is a Selector taken apart.
type selector struct {
	text string // as written
	name string // without modifiers, as written
	low  string // in lower case
	hash uint32 // of low
	id   int    // where its result is kept, -1: nowhere
	kind kind

	raw, addr, person      bool // :raw, :addr, :name
	host, domain, ip, rev  bool // :host and :domain, :ip and :revip
	first, last            bool
	linewise, needsRawBody bool
}

// kind says what a selector's name stands for.
type kind uint8

const (
	plainField kind = iota
	allFields
	allTrusted
	allInternal
	allUntrusted
	allExternal
	envelopeFrom
	relaysUntrusted
	relaysTrusted
	relaysExternal
	relayExternal
	relaysInternal
	toAndCc
	messageIDs
)

// exactKinds are the pseudo-fields whose names must be in capitals; anyKinds those whose case does not matter. A field of
// such a name can't be selected.
var (
	exactKinds = map[string]kind{
		"ALL": allFields, "ALL-TRUSTED": allTrusted, "ALL-INTERNAL": allInternal, "ALL-UNTRUSTED": allUntrusted,
		"ALL-EXTERNAL": allExternal, "MESSAGEID": messageIDs,
	}
	anyKinds = map[string]kind{
		"envelopefrom": envelopeFrom, "tocc": toAndCc,
		"x-spam-relays-untrusted": relaysUntrusted, "x-spam-relays-trusted": relaysTrusted,
		"x-spam-relays-external": relaysExternal, "x-spam-relays-internal": relaysInternal,
		"x-postern-external-relay": relayExternal,
	}
)

// interned holds the selectors that were parsed. They stem from rule files; what goes beyond the limit is computed anew for
// each question, and is otherwise the same.
var interned = struct {
	mu  sync.RWMutex
	all map[string]*selector
}{all: map[string]*selector{}}

const (
	maxInterned     = 4096
	maxSelectorText = 1024
)

// ParseSelector reads a selector as header rules write it: a field's name or a pseudo-field (ALL, ALL-TRUSTED,
// ALL-INTERNAL, ALL-UNTRUSTED, ALL-EXTERNAL, ToCc, MESSAGEID, EnvelopeFrom, X-Spam-Relays-Trusted, -Untrusted, -Internal,
// -External, X-Postern-External-Relay for the newest of the latter), and modifiers behind it: :raw, :addr, :name, :host, :domain, :ip, :revip, :first, :last. The error names a
// modifier that there is not.
func ParseSelector(text string) (Selector, error) {
	interned.mu.RLock()
	s := interned.all[text]
	interned.mu.RUnlock()
	if s != nil {
		return Selector{s}, nil
	}
	s, err := readSelector(text)
	if err != nil {
		return Selector{}, err
	}
	interned.mu.Lock()
	defer interned.mu.Unlock()
	if have := interned.all[text]; have != nil {
		return Selector{have}, nil
	}
	if len(interned.all) < maxInterned {
		s.id = len(interned.all)
		interned.all[text] = s
	}
	return Selector{s}, nil
}

// MustSelector is ParseSelector for texts that are known to be in order.
func MustSelector(text string) Selector {
	s, err := ParseSelector(text)
	if err != nil {
		panic(err)
	}
	return s
}

// String gives the selector as it was written.
func (s Selector) String() string {
	if s.s == nil {
		return ""
	}
	return s.s.text
}

func readSelector(text string) (*selector, error) {
	if len(text) > maxSelectorText {
		return nil, fmt.Errorf("text: a selector of %d octets", len(text))
	}
	name, mods, _ := strings.Cut(text, ":")
	if name == "" || strings.ContainsAny(name, " \t\r\n") {
		return nil, fmt.Errorf("text: %q is no field name", name)
	}
	s := &selector{text: text, name: name, low: lowerText(name), id: -1}
	s.hash = nameHash(s.low)
	for m := range strings.SplitSeq(mods, ":") {
		switch m {
		case "":
		case "raw":
			s.raw = true
		case "addr":
			s.addr = true
		case "name":
			s.person = true
		case "host":
			s.host = true
		case "domain":
			s.host, s.domain = true, true
		case "ip":
			s.ip = true
		case "revip":
			s.ip, s.rev = true, true
		case "first":
			s.first = true
		case "last":
			s.last = true
		default:
			return nil, fmt.Errorf("text: selector %q: there is no modifier %q", text, m)
		}
	}
	s.needsRawBody = s.raw || s.addr || s.person
	if k, ok := exactKinds[name]; ok {
		s.kind = k
	} else {
		s.kind = anyKinds[s.low]
	}
	s.linewise = s.addr || s.person || s.host || s.ip || s.name == "EnvelopeFrom" && mods == ""
	return s, nil
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// nameHash is FNV-1a over the name in lower case.
func nameHash[S string | []byte](name S) uint32 {
	h := uint32(2166136261)
	for i := range len(name) {
		h = (h ^ uint32(lower(name[i]))) * 16777619
	}
	return h
}
