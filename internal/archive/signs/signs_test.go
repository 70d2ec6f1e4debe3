package signs

import (
	"errors"
	"fmt"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
)

type visitor struct {
	got  []archive.Sign
	fail error
}

func (v *visitor) File(*archive.Entry) error { return nil }

func (v *visitor) Sign(s archive.Sign) error {
	v.got = append(v.got, s)
	return v.fail
}

func TestList(t *testing.T) {
	var l List
	for i := range 100 {
		l.Add(archive.Unreadable, "topic", fmt.Sprint(i))
	}
	if len(l.All()) != perTopic {
		t.Errorf("%d signs of one topic", len(l.All()))
	}
	for i := range 100 {
		l.Add(archive.Unreadable, fmt.Sprint(i), fmt.Sprint("of topic ", i))
		l.Add(archive.Unreadable, "again", "of topic 0")
	}
	if len(l.All()) != inAll {
		t.Errorf("%d signs", len(l.All()))
	}
	l.Add(archive.Bomb, "", "spent")
	v := &visitor{}
	if err := l.Give(v); err != nil || len(v.got) != inAll+1 || v.got[inAll].Kind != archive.Bomb {
		t.Errorf("%v, %v", v.got, err)
	}
	if err := l.Give(v); err != nil || len(v.got) != inAll+1 {
		t.Errorf("given twice: %v", err)
	}
	l.Add(archive.Encrypted, "", "")
	v.fail = errors.New("enough")
	if err := l.Give(v); !errors.Is(err, v.fail) {
		t.Errorf("got %v", err)
	}
}
