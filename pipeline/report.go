package pipeline

import (
	"errors"
	"fmt"
	"time"

	"github.com/postern-mail/postern/filter"
)

// OnError says what becomes of a message when a stage could not tell. Its zero value defers: unknown is
// not clean.
type OnError uint8

// What a stage's failure may lead to.
const (
	Defer           OnError = iota // ask the client to come back
	ContinueOnError                // go on without this stage
	RejectOnError                  // refuse
	onErrorCount
)

var onErrorNames = [onErrorCount]string{"defer", "continue", "reject"}

// String gives the word that the configuration uses.
func (o OnError) String() string {
	if o < onErrorCount {
		return onErrorNames[o]
	}
	return "unknown"
}

// ParseOnError reads the word that the configuration uses.
func ParseOnError(s string) (OnError, error) {
	for i, name := range onErrorNames {
		if s == name {
			return OnError(i), nil
		}
	}
	return Defer, fmt.Errorf("pipeline: on_error %q: want defer, continue or reject", s)
}

// action is what a failure asks for. Of an unknown value nothing good is assumed.
func (o OnError) action() filter.Action {
	switch o {
	case ContinueOnError:
		return filter.Continue
	case RejectOnError:
		return filter.Reject
	default:
		return filter.Defer
	}
}

// Outcome is how one run of one stage ended.
type Outcome uint8

// The outcomes.
const (
	Pass     Outcome = iota // nothing found
	Match                   // something was found, proposed or is to be changed
	Errored                 // could not tell
	TimedOut                // did not end by its deadline
	Panicked                // crashed; Report.Err is a *PanicError
	Skipped                 // not run, since the message was refused already
	Resting                 // could not tell: what it asks has failed again and again, and was not asked (filter.ErrBreakerOpen)
	outcomeCount
)

var outcomeNames = [outcomeCount]string{"pass", "match", "error", "timeout", "panic", "skipped", "breaker_open"}

// AllOutcomes lists the outcomes, for whoever creates one series for each.
func AllOutcomes() []Outcome {
	return []Outcome{Pass, Match, Errored, TimedOut, Panicked, Skipped, Resting}
}

// String gives the outcome's name in lower case.
func (o Outcome) String() string {
	if o < outcomeCount {
		return outcomeNames[o]
	}
	return "unknown"
}

// Told reports whether the stage came to a result, so that it is known what it thinks of the message.
func (o Outcome) Told() bool { return o == Pass || o == Match }

// The errors of reports that people branch on.
var (
	// ErrNeeds says that a stage could not run because the stage that provides a fact it needs could
	// not tell.
	ErrNeeds = errors.New("pipeline: a needed fact is not known")
	// ErrAbandoned says that too many filters that ignored their deadline are still running.
	ErrAbandoned = errors.New("pipeline: too many abandoned filters are still running")
	// ErrDeadline says that a stage did not end by its deadline.
	ErrDeadline = errors.New("pipeline: deadline passed")
	// ErrContent says that the message's content could not be read, so that no result about it counts.
	ErrContent = errors.New("pipeline: content could not be read")
	// ErrResult says that a filter broke its own declaration or returned something that has no meaning.
	ErrResult = errors.New("pipeline: filter's result is not valid")
)

// PanicError is the error of a filter that crashed.
type PanicError struct {
	Value any    // what was given to panic
	Stack []byte // the stack of the crashed goroutine, for the log
}

// Error gives the panic's value, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("pipeline: filter panicked: %v", e.Value) }

// Unwrap gives the panic's value where it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Report says what one run of one stage found. Result is the zero value unless Outcome is Pass or Match.
type Report struct {
	Stage   string
	Phase   filter.Phase
	Outcome Outcome
	Result  filter.Result
	Err     error // why there is no result; nil otherwise
	OnError OnError
	Observe bool
	Wave    int // within its phase, from 0
	Elapsed time.Duration
	Again   bool // what the stage finds has been reported before, see Again and Runs
	Shared  bool // it is that of a run for another policy, see Runs
}

// Reports is what the stages said, in plan order within a phase. Those of several phases are put one
// after another in the order of the phases.
type Reports []Report

// Summary is one report without its findings, for logs, records and people.
type Summary struct {
	Stage    string  `json:"filter"`
	Phase    string  `json:"phase"`
	Outcome  string  `json:"outcome"`
	MS       float64 `json:"ms"` // milliseconds, to the microsecond
	Error    string  `json:"error,omitempty"`
	Observed bool    `json:"observed,omitempty"`
	Shared   bool    `json:"shared,omitempty"` // it ran once for several policies of the message
}

// Summaries gives one line for each report, in their order.
func (rs Reports) Summaries() []Summary {
	out := make([]Summary, len(rs))
	for i, r := range rs {
		out[i] = Summary{
			Stage:    r.Stage,
			Phase:    r.Phase.String(),
			Outcome:  r.Outcome.String(),
			MS:       float64(r.Elapsed.Microseconds()) / 1000,
			Observed: r.Observe,
			Shared:   r.Shared,
		}
		if r.Err != nil {
			out[i].Error = printable(r.Err.Error(), maxErrorText)
		}
	}
	return out
}

// fail makes r the report of a stage that could not tell.
func (r *Report) fail(o Outcome, err error) {
	r.Outcome, r.Err, r.Result = o, err, filter.Result{}
}
