package config

import "time"

// EarlyTalkers says whom a listener lets wait for its greeting, and how.
type EarlyTalkers struct {
	Wait     time.Duration `yaml:"wait"`     // 0: nobody waits
	Remember time.Duration `yaml:"remember"` // how long one who waited need not wait again
	Teaser   bool          `yaml:"teaser"`   // the greeting has two lines, with the wait between them
}

// longestWait is what every client bears: RFC 5321 4.5.3.2.1 has five minutes, some programs less than one.
const longestWait = 30 * time.Second

// notWritten is no duration that a file can have.
const notWritten = -1

func (e *EarlyTalkers) defaults() {
	*e = EarlyTalkers{Wait: notWritten, Remember: 7 * day, Teaser: true}
}

// early fills in and checks the wait of one listener. Where clients begin with TLS, or log in, nobody waits unless told to.
func (k *checker) early(path string, l *Listener) {
	path += ".early_talkers"
	e, implicit := &l.EarlyTalkers, l.TLS != nil && l.TLS.Mode == "implicit"
	switch {
	case e.Wait == notWritten && (implicit || l.Relay != nil && l.Relay.Users != ""):
		e.Wait = 0
	case e.Wait == notWritten:
		e.Wait = 3 * time.Second
	case implicit && e.Wait > 0:
		k.fail(path, "with mode: implicit clients speak first, and can't be tested so")
	case e.Wait > longestWait:
		k.fail(path, "a wait of more than %s is more than honest clients bear", FormatDuration(longestWait))
	}
	if e.Remember <= 0 {
		k.fail(path+".remember", "remember must be greater than 0")
	}
}
