package arc

import (
	"fmt"
	"slices"
	"strings"

	"github.com/postern-mail/postern/internal/dkim"
	"github.com/postern-mail/postern/mail"
)

// MaxSets is how many ARC Sets a message may have (RFC 8617 4.2.1).
const MaxSets = 50

// The fields of an ARC Set (RFC 8617 4.1).
const (
	fieldAuthResults = "ARC-Authentication-Results"
	fieldSignature   = "ARC-Message-Signature"
	fieldSeal        = "ARC-Seal"
)

// Set is an ARC Set: three fields of one instance.
type Set struct {
	Instance    int
	AuthResults mail.Field // ARC-Authentication-Results
	Signature   mail.Field // ARC-Message-Signature
	Seal        mail.Field // ARC-Seal

	signature, seal dkim.Tags // of fields that are there
	signatureAt     int       // index of the ARC-Message-Signature in the header
	check           *dkim.Check
}

// SealDomain gives d= of the ARC-Seal as A-labels in lower case, and "" where it is no domain.
func (s *Set) SealDomain() string { return domain(s.seal) }

// SignatureDomain gives d= of the ARC-Message-Signature as A-labels in lower case, and "" where it is no domain.
func (s *Set) SignatureDomain() string { return domain(s.signature) }

func domain(t dkim.Tags) string {
	d, err := mail.Domain(t.Compact("d"))
	if err != nil {
		return ""
	}
	return d
}

// Covers reports whether the ARC-Message-Signature covers the whole body and the fields of this name, which is in
// lower case.
func (s *Set) Covers(name string) bool {
	if _, partial := s.signature.Get("l"); partial {
		return false
	}
	h, _ := s.signature.Get("h")
	for n := range strings.SplitSeq(h, ":") {
		if mail.LowerASCII(strings.Trim(n, " \t\r\n")) == name {
			return true
		}
	}
	return false
}

// Intact reports whether the message is, as to its body and its fields of this name (lower case), what the
// sealer of the Set handed on: its message signature was verified, and covers the whole body and each such field. Nor
// may there be, above what it covers, another field that readers show instead of the one that was signed.
func (s *Set) Intact(name string) bool {
	return s.check != nil && s.check.Result == dkim.Pass && s.Covers(name) && len(s.check.Added) == 0
}

// sets is what a header has of ARC.
type sets struct {
	all     []Set  // by instance, from 1 up to the highest; where something is wrong a Set may lack fields
	problem string // what is wrong with the structure; "" for nothing
	more    bool   // there are more sets than may be, or an instance beyond
	ended   bool   // the seal of the highest instance says that the chain had failed
}

// collect finds the ARC Sets of a header and checks their structure (RFC 8617 5.2, steps 1 to 3).
func collect(fields []mail.Field) sets {
	var c collector
	for i := range fields {
		switch f := &fields[i]; {
		case f.Is(fieldAuthResults):
			n, _ := readInstance(body(f))
			c.take(i, *f, n, nil)
		case f.Is(fieldSignature), f.Is(fieldSeal):
			if c.fields >= 3*MaxSets {
				// RFC 8617 5.2, step 1: more than the maximum. What is beyond is not even read.
				c.tooMany()
				continue
			}
			tags, err := dkim.ParseTags(body(f))
			if err != nil {
				c.problem("%s: %s", f.Name, strings.TrimPrefix(err.Error(), "dkim: "))
			}
			n, _ := tags.Get("i")
			c.take(i, *f, number(n), tags)
		}
	}
	return c.finish()
}

func body(f *mail.Field) string { return f.Raw[strings.IndexByte(f.Raw, ':')+1:] }

type collector struct {
	fields  int
	sets    [MaxSets]Set
	highest int
	more    bool
	wrong   string
}

func (c *collector) tooMany() {
	c.more = true
	c.problem("there are more than %d sets", MaxSets)
}

// problem keeps the first thing that is wrong.
func (c *collector) problem(format string, args ...any) {
	if c.wrong == "" {
		c.wrong = fmt.Sprintf(format, args...)
	}
}

// take puts the field at an index of the header into its set.
func (c *collector) take(index int, f mail.Field, instance int, tags dkim.Tags) {
	c.fields++
	switch {
	case c.fields > 3*MaxSets || instance > MaxSets:
		c.tooMany()
		return
	case instance == 0:
		c.problem("%s without an instance", f.Name)
		return
	}
	c.highest = max(c.highest, instance)
	s := &c.sets[instance-1]
	var at *mail.Field
	switch {
	case f.Is(fieldAuthResults):
		at = &s.AuthResults
	case f.Is(fieldSignature):
		at = &s.Signature
		if at.Raw == "" {
			s.signature, s.signatureAt = tags, index
		}
	default:
		at = &s.Seal
		if at.Raw == "" {
			s.seal = tags
		}
	}
	if at.Raw != "" {
		// RFC 8617 5.2, step 3A: exactly one each.
		c.problem("two fields %s of instance %d", f.Name, instance)
		return
	}
	*at = f
}

func (c *collector) finish() sets {
	out := sets{all: c.sets[:c.highest], more: c.more}
	for i := range out.all {
		s := &out.all[i]
		s.Instance = i + 1
		for _, f := range []struct {
			name string
			mail.Field
		}{{fieldAuthResults, s.AuthResults}, {fieldSignature, s.Signature}, {fieldSeal, s.Seal}} {
			if f.Raw == "" {
				// RFC 8617 5.2, step 3A and 3B: exactly one each, no gaps.
				c.problem("instance %d of %d has no %s", s.Instance, c.highest, f.name)
			}
		}
	}
	if c.highest > 0 {
		// RFC 8617 5.2, step 2.
		if cv, _ := out.all[c.highest-1].seal.Get("cv"); cv == "fail" {
			out.ended = true
			c.wrong = "sealed as failed by " + named(out.all[c.highest-1].SealDomain())
		}
	}
	for i := range out.all {
		// RFC 8617 5.2, step 3C.
		want := "pass"
		if i == 0 {
			want = "none"
		}
		if cv, _ := out.all[i].seal.Get("cv"); cv != want {
			c.problem("the seal of instance %d does not say cv=%s", i+1, want)
		}
	}
	out.problem = c.wrong
	if c.fields > 0 && c.highest == 0 {
		c.problem("no field has an instance")
		out.problem = c.wrong
	}
	return out
}

func named(domain string) string {
	if domain == "" {
		return "somebody without a domain"
	}
	return domain
}

// Present reports whether a header has any field of ARC.
func Present(header []mail.Field) bool {
	return slices.ContainsFunc(header, func(f mail.Field) bool {
		return f.Is(fieldAuthResults) || f.Is(fieldSignature) || f.Is(fieldSeal)
	})
}
