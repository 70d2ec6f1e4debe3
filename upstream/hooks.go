package upstream

import (
	"crypto/tls"
	"time"

	"github.com/postern-mail/postern/mail"
)

// Hooks are told what a relay does, for metrics and alarms. A nil func is not called. They are called
// from many goroutines, some with a lock held: they must be quick and must not call the relay.
type Hooks struct {
	// Phases is told how long stages took: those of a transaction when it has ended, each of making a connection when it
	// is over. took is no longer to be looked at when it has returned.
	Phases func(server string, took []Took)
	// Result is told what became of each Deliver; class is the first digit of the next server's reply,
	// 0 if it gave none.
	Result func(server string, kind Kind, class int)
	// Up is told that a server is up when a pool of it is made, which knows nothing against it, and again
	// when it has served a transaction after it was down, or a probe has found it back; and that it is down when it is
	// marked so.
	Up func(server string, up bool)
	// Breaker is told of each change of a server's breaker; it is closed when a pool is made.
	Breaker func(server string, state Breaker)
	// Probed is told what came of looking at a server.
	Probed func(server string, result Probed)
	// Fault is told of each failure that is ours to mend: the next server does not take mail from us.
	Fault func(server string, stage Stage, r mail.Reply, err error)
	// Insecure is told of each message that a server did not get because of Config.Secure.
	Insecure func(server string)
	// Retried is told when a pooled connection was found dead and the transaction is tried on a fresh one.
	Retried func(server string, stage Stage)
	// Connections is told at each change by how many the open connections, and the idle ones among them,
	// have become more or fewer: several pools may have connections with one server.
	Connections func(server string, open, idle int)
	// Handshake is told of each TLS handshake with a server; err is nil if it succeeded.
	Handshake func(server string, state tls.ConnectionState, err error)
	// Asked is told of each Lookup of an Ask that did not wait for the question of another one.
	Asked func(Asked)
}

// Took is how long one stage took.
type Took struct {
	Stage Stage
	For   time.Duration
}

func (h *Hooks) phase(server string, stage Stage, d time.Duration) {
	if h.Phases != nil {
		h.Phases(server, []Took{{stage, d}})
	}
}

func (h *Hooks) phases(server string, took []Took) {
	if h.Phases != nil && len(took) > 0 {
		h.Phases(server, took)
	}
}

func (h *Hooks) result(o *Outcome) {
	if h.Result != nil {
		h.Result(o.Server, o.Kind, o.Reply.Code/100)
	}
}

func (h *Hooks) up(server string, up bool) {
	if h.Up != nil {
		h.Up(server, up)
	}
}

func (h *Hooks) breaker(server string, state Breaker) {
	if h.Breaker != nil {
		h.Breaker(server, state)
	}
}

func (h *Hooks) probed(server string, result Probed) {
	if h.Probed != nil {
		h.Probed(server, result)
	}
}

func (h *Hooks) fault(o *Outcome) {
	if h.Fault != nil {
		h.Fault(o.Server, o.Stage, o.Reply, o.Err)
	}
}

func (h *Hooks) insecure(o *Outcome) {
	if h.Insecure != nil {
		h.Insecure(o.Server)
	}
}

func (h *Hooks) retried(server string, stage Stage) {
	if h.Retried != nil {
		h.Retried(server, stage)
	}
}

func (h *Hooks) connections(server string, open, idle int) {
	if h.Connections != nil {
		h.Connections(server, open, idle)
	}
}

func (h *Hooks) handshake(server string, state tls.ConnectionState, err error) {
	if h.Handshake != nil {
		h.Handshake(server, state, err)
	}
}

func (h *Hooks) asked(a Asked) {
	if h.Asked != nil {
		h.Asked(a)
	}
}
