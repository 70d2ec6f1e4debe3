package arc

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"time"

	"github.com/postern-mail/postern/internal/dkim"
)

// Status is a Chain Validation Status (RFC 8617 4.4), or TempError.
type Status string

// The statuses.
const (
	None Status = "none" // there is no ARC Set
	Pass Status = "pass"
	Fail Status = "fail"
	// TempError says that a key could not be asked for. RFC 8617 4.4 has no such status, and takes it for "fail". It
	// is told apart here, since it says nothing against the message; it is never to be sealed.
	TempError Status = "temperror"
)

// The bounds of the work for one chain.
const (
	maxKeys  = 20 // different keys that the seals may need; a chain that needs more fails
	maxOlder = 10 // message signatures, beside the newest, that are verified
)

// Chain is the outcome of a validation.
type Chain struct {
	Status Status
	Reason string // why, for people; empty for None and Pass
	Sets   []Set  // instance 1 first; of a chain that is broken, what could be read
	// Oldest is the lowest instance of which this and all later message signatures were verified (oldest-pass of
	// RFC 8617 5.2, step 5), and 0 where all were. Of a chain that does not pass it means nothing.
	Oldest int
}

// Options say how a chain is validated.
type Options struct {
	Resolver dkim.Resolver
	Budget   time.Duration    // that all look-ups of keys may take; 0 is dkim.KeyBudget
	Now      func() time.Time // the clock that x= is held against; nil is time.Now
}

// Validate judges the ARC chain of a message (RFC 8617 5.2). The error means that the context has ended: nothing is
// known then.
func Validate(ctx context.Context, m *dkim.Material, o Options) (*Chain, error) {
	found := collect(m.Fields.All())
	c := &Chain{Status: Fail, Reason: found.problem, Sets: found.all}
	if found.problem != "" {
		return c, nil
	}
	if len(found.all) == 0 {
		c.Status = None
		return c, nil
	}
	v := validation{m: m, o: o, keys: dkim.NewKeys(o.Resolver, o.Budget), chain: c}
	return c, v.run(ctx)
}

// validation is one run of steps 4 to 7 of RFC 8617 5.2 over a chain of sound structure. Step 5, which changes nothing
// about the status, comes last: it is for chains that pass.
type validation struct {
	m     *dkim.Material
	o     Options
	keys  *dkim.Keys
	chain *Chain
}

func (v *validation) run(ctx context.Context) error {
	n := len(v.chain.Sets)
	newest, err := v.signatures(ctx, n-1, n)
	if err != nil {
		return err
	}
	// RFC 8617 5.2, step 4: the message signature of the highest instance.
	if c := newest[0]; c.Result != dkim.Pass {
		v.stop(c.Result, "the message signature", n, c.Reason)
		return nil
	}
	if ok, err := v.seals(ctx); err != nil || !ok {
		return err
	}
	v.chain.Status, v.chain.Reason = Pass, ""
	return v.older(ctx)
}

// stop settles the chain with what is wrong with one signature.
func (v *validation) stop(r dkim.Result, what string, instance int, reason string) {
	v.chain.Status = Fail
	if r == dkim.TempError {
		v.chain.Status = TempError
	}
	v.chain.Reason = fmt.Sprintf("%s of instance %d: %s", what, instance, reason)
}

// signatures judges the message signatures of the sets from index a up to b.
func (v *validation) signatures(ctx context.Context, a, b int) ([]*dkim.Check, error) {
	var checks []*dkim.Check
	for i := a; i < b; i++ {
		c := dkim.NewCheck(v.m.Fields, v.chain.Sets[i].signatureAt, dkim.ARCMessage)
		for _, name := range c.Names {
			if name == "arc-seal" && c.Result == "" {
				// RFC 8617 4.1.2: none of ARC's fields may be in the list of those that the signature covers. This one
				// makes it fail, as it can't have been there: a seal covers the signature. The two others are let pass, as
				// everybody does.
				c.Result, c.Reason = dkim.PermError, "h= names ARC-Seal"
			}
		}
		checks = append(checks, c)
	}
	err := dkim.Judge(ctx, v.m.Fields, v.m.Bodies, checks, dkim.Options{Keys: v.keys, Now: v.o.Now, MaxVerified: len(checks)})
	if err != nil {
		return nil, fmt.Errorf("arc: message signatures: %w", err)
	}
	for i, c := range checks {
		v.chain.Sets[a+i].check = c
	}
	return checks, nil
}

// older finds the oldest message signature of which all later ones verify as well (RFC 8617 5.2, step 5).
func (v *validation) older(ctx context.Context) error {
	n := len(v.chain.Sets)
	from := max(0, n-1-maxOlder)
	checks, err := v.signatures(ctx, from, n-1)
	if err != nil {
		return err
	}
	oldest := n
	for i := len(checks) - 1; i >= 0 && checks[i].Result == dkim.Pass; i-- {
		oldest--
	}
	if oldest > 1 {
		v.chain.Oldest = oldest
	}
	return nil
}

// seals verifies all seals (RFC 8617 5.2, step 6), and reports whether they hold.
func (v *validation) seals(ctx context.Context) (bool, error) {
	seals := make([]*dkim.Signature, 0, len(v.chain.Sets))
	names := map[[2]string]bool{}
	for i := range v.chain.Sets {
		s := &v.chain.Sets[i]
		seal, err := dkim.ParseSignature(s.Seal, dkim.ARCSeal)
		if err != nil {
			r, reason := verdict(err)
			v.stop(r, "the seal", s.Instance, reason)
			return false, nil
		}
		seals = append(seals, seal)
		names[[2]string{seal.Selector, seal.Domain}] = true
	}
	if len(names) > maxKeys {
		v.chain.Reason = fmt.Sprintf("the seals need %d different keys, more than %d", len(names), maxKeys)
		return false, nil
	}
	v.keys.Fetch(ctx, seals...)
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("arc: seals: %w", err)
	}
	digests := sealed(v.chain.Sets)
	for i := len(seals) - 1; i >= 0; i-- {
		key, err := v.keys.Get(seals[i])
		if err == nil {
			err = key.Verify(seals[i].Algorithm, digests[i], seals[i].Value)
		}
		if err != nil {
			r, reason := verdict(err)
			v.stop(r, "the seal", i+1, reason)
			return false, nil
		}
	}
	return true, nil
}

func verdict(err error) (dkim.Result, string) {
	var e *dkim.Error
	if errors.As(err, &e) {
		return e.Result, e.Reason
	}
	return dkim.PermError, err.Error()
}

// sealed gives what each seal of a chain signs, as digests. RFC 8617 5.1.1: the fields of all sets up to its own, by
// instance, and of each set the results, the message signature and the seal; of its own seal without the value of b=.
// What two seals have in common is hashed once.
func sealed(all []Set) [][]byte {
	h := sha256.New()
	digests := make([][]byte, 0, len(all))
	for i := range all {
		s := &all[i]
		write(h, s.AuthResults.Raw)
		write(h, s.Signature.Raw)
		digests = append(digests, sealDigest(h, s.Seal.Raw, s.seal))
		write(h, s.Seal.Raw)
	}
	return digests
}

// write hashes a field in the relaxed form, the only one that a seal has (RFC 8617 4.1.3).
func write(h hash.Hash, raw string) { h.Write(dkim.AppendField(nil, raw, dkim.Relaxed)) }

// sealDigest gives the digest for a seal where h has all that is before it; h is left as it is.
func sealDigest(h hash.Hash, raw string, tags dkim.Tags) []byte {
	own := dkim.AppendField(nil, dkim.EmptyB(raw, tags), dkim.Relaxed)
	mine, err := h.(hash.Cloner).Clone()
	if err != nil {
		panic("arc: SHA-256 can't be cloned") // it always can
	}
	// RFC 6376 3.7: without the CRLF at its end.
	mine.Write(own[:len(own)-len("\r\n")])
	return mine.Sum(nil)
}
