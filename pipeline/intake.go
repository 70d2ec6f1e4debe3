package pipeline

import (
	"fmt"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// intakeStage is the name under which Intake reports.
const intakeStage = "intake"

// MaxReceived is how many Received fields a message may have that is not taken for a loop. It departs
// from RFC 5321 6.3, which suggests a hundred or more: a gateway is in a loop with a server of its own
// site, and fifty, the default of Postfix, ends that in half the time.
const MaxReceived = 50

// IntakeOptions are the bounds of what is taken in at all.
type IntakeOptions struct {
	RejectBare  bool  // refuse a message that came with a bare CR or LF; else both have been made harmless
	HeaderLimit int64 // octets of the header; 0: only the limits of the content's own index
	MaxReceived int   // Received fields; 0 is MaxReceived
	// MaySend tells as whom the user who sends the message may send; nil: as anybody.
	MaySend func(mail.Address) bool
}

// Intake reports on what is refused before any filter, as the stage "intake" of the data phase. Its
// symbols score nothing: each refuses or is a mention; docs/filters/intake.md lists them. A header that
// can't be read is a failure, which defers.
func Intake(c *mail.Content, o IntakeOptions) Report {
	began := time.Now()
	r := Report{Stage: intakeStage, Phase: filter.Data}
	if o.MaxReceived <= 0 {
		o.MaxReceived = MaxReceived
	}
	lineFaults(&r.Result, c.LineFaults(), o.RejectBare)
	h := c.Header()
	if h.Truncated() || o.HeaderLimit > 0 && h.Octets() > o.HeaderLimit {
		refuse(&r.Result, "HEADER_SIZE", fmt.Sprintf("%d octets", h.Octets()),
			mail.NewReply(554, 5, 6, 0, "message header too large"))
	}
	// RFC 5321 6.3: a loop is found by counting the Received fields.
	if n := h.Count("Received"); n > o.MaxReceived {
		refuse(&r.Result, "HOPS", fmt.Sprintf("%d Received fields", n),
			mail.NewReply(554, 5, 4, 6, "too many hops: this message is in a loop"))
	}
	ownSender(&r.Result, h, o.MaySend)
	r.Outcome = outcomeOf(&r.Result)
	if err := c.Err(); err != nil {
		r.fail(Errored, fmt.Errorf("%w: %w", ErrContent, err))
	}
	r.Elapsed = time.Since(began)
	return r
}

// lineFaults judges the octets that SMTP does not allow.
func lineFaults(res *filter.Result, f mail.LineFaults, rejectBare bool) {
	if f.NUL > 0 {
		refuse(res, "NUL", times(f.NUL), mail.NewReply(554, 5, 6, 0, "message contains NUL octets"))
	}
	for _, bare := range []struct {
		symbol string
		count  int64
	}{{"BARE_LF", f.BareLF}, {"BARE_CR", f.BareCR}} {
		switch {
		case bare.count == 0:
		case rejectBare:
			// RFC 5321 2.3.8: CR and LF must not appear but together, as CRLF.
			refuse(res, bare.symbol, times(bare.count), mail.NewReply(554, 5, 6, 0, "message contains bare CR or LF"))
		default:
			res.Findings = append(res.Findings, filter.Finding{Symbol: bare.symbol, Detail: times(bare.count)})
		}
	}
}

// refuse adds a finding that refuses the message. The first refusal gives the reply, and its finding
// comes first.
func refuse(res *filter.Result, symbol, detail string, reply mail.Reply) {
	f := filter.Finding{Symbol: symbol, Detail: detail}
	if res.Propose == filter.Reject {
		res.Findings = append(res.Findings, f)
		return
	}
	res.Propose, res.Reply = filter.Reject, &reply
	res.Findings = append([]filter.Finding{f}, res.Findings...)
}

func times(n int64) string { return fmt.Sprintf("%d times", n) }
