package attachments

import (
	"bytes"
	"context"
	"encoding/base64"
	"strings"
	"testing"
)

// A text that is larger than what is converted is not called clean.
func TestConversionLimit(t *testing.T) {
	for _, test := range []struct {
		octets int
		want   string
	}{
		{conversionLimit, "propose continue\n"},
		{conversionLimit + 2, "too large to be converted"},
	} {
		body := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("a\x00\n\x00"), test.octets/4+1)[:test.octets])
		in := input(t, "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: base64\r\n\r\n"+body+"\r\n")
		res, err := newChecker(t, "").Check(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		if got := describe(res); !strings.Contains(got, test.want) {
			t.Errorf("%d octets: %s", test.octets, got)
		}
	}
}

func TestMarkLength(t *testing.T) {
	for head, want := range map[string]int{
		"": 0, "MZ": 0, "\xef\xbb\xbfMZ": 3, "\xef\xbb\xbf\x1b(BMZ": 6, "\x1b$)CMZ": 4, "\x1b-AMZ": 3, "\x1b.A": 3, "\x1b(": 0,
		"\x1b$BMZ": 0, "\x1b$@MZ": 0, "~\nMZ": 2, "~\r\nMZ": 3, "~{~}MZ": 4, "~{MZ~}": 0, "~}MZ": 2, "~~": 0, "\x0fMZ": 1,
	} {
		if got := markLength([]byte(head)); got != want {
			t.Errorf("%q: %d", head, got)
		}
	}
}
