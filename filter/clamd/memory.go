package clamd

import (
	"crypto/sha256"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// askEvery is how often a server is asked for the version of its signatures.
	askEvery = time.Minute
	// holds is how long what a server found is known: signatures of one's own change without a new version.
	holds = 10 * time.Minute
	// knownFor is how long the version of a server's signatures says anything of them: they are made anew all the time.
	knownFor = time.Hour
	// grace is how long a message waits for the versions of servers that do not scan it, once in askEvery.
	grace = 500 * time.Millisecond
	// tellEvery is how often the log says that signatures are old.
	tellEvery = time.Hour
)

// sum names octets.
type sum = [sha256.Size]byte

// memory is what is known of one server: the version of its signatures, and what it found by them. It has two generations
// of findings: when the younger is full the older one goes.
type memory struct {
	mu           sync.Mutex
	version      string
	generation   int       // counts versions
	asked        time.Time // when it told its version
	tried        time.Time // when it was asked for it beside a message
	made         time.Time // when its signatures were made; zero: not known
	told         time.Time
	young, older map[sum]finding
}

// finding is a signature that was found in octets, "" for none.
type finding struct {
	name string
	at   time.Time
}

// fresh reports whether the version need not be asked for.
func (m *memory) fresh(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.asked.IsZero() && now.Sub(m.asked) < askEvery
}

// due reports whether the version should be asked for beside a message, and takes down that it is.
func (m *memory) due(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.asked) < askEvery || now.Sub(m.tried) < askEvery {
		return false
	}
	m.tried = now
	return true
}

// signatures gives when the signatures were made, as far as that is known and not long ago; zero else.
func (m *memory) signatures(now time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.asked) > knownFor {
		return time.Time{}
	}
	return m.made
}

// current gives the number of the version by which a scan that begins now is made, or by an older one.
func (m *memory) current() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.generation
}

// is takes down the version. With another one all that was found before is forgotten.
func (m *memory) is(version string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = now
	if m.version != version {
		m.version, m.young, m.older = version, nil, nil
		m.generation++
	}
	m.made = madeAt(version)
}

// madeAt reads when signatures were made from a version such as "ClamAV 1.4.3/27800/Wed Nov 25 10:26:33 2026". Where no
// signatures of ClamAV's own are loaded the version does not say.
func madeAt(version string) time.Time {
	parts := strings.Split(version, "/")
	if len(parts) != 3 {
		return time.Time{}
	}
	t, err := time.ParseInLocation(time.ANSIC, strings.TrimSpace(parts[2]), time.Local)
	if err != nil {
		return time.Time{}
	}
	return t
}

// old gives the age of signatures that are older than most, 0 for none, and tells the log now and then.
func (m *memory) old(most time.Duration, now time.Time, server string, log *slog.Logger) time.Duration {
	age, tell := m.aged(most, now)
	if tell { // a log may be slow, and so is told when the lock is free
		log.Warn("virus signatures are old: does freshclam run?", "server", server, "age", age.Round(time.Hour).String())
	}
	return age
}

func (m *memory) aged(most time.Duration, now time.Time) (age time.Duration, tell bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	age = now.Sub(m.made)
	if m.made.IsZero() || most == 0 || age <= most {
		return 0, false
	}
	if now.Sub(m.told) >= tellEvery {
		m.told, tell = now, true
	}
	return age, tell
}

func (m *memory) known(s sum, now time.Time) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.young[s]
	if !ok {
		f, ok = m.older[s]
	}
	return f.name, ok && now.Sub(f.at) < holds
}

// found takes down what a scan found that began with that version; most is how many such are kept. Where another one is known
// meanwhile it says nothing.
func (m *memory) found(generation int, s sum, name string, most int, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if generation != m.generation {
		return
	}
	if m.young == nil || len(m.young) >= (most+1)/2 {
		m.older, m.young = m.young, map[sum]finding{}
	}
	m.young[s] = finding{name, now}
}
