package app

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"testing"
	"time"
)

// both gives what slog's handler and ours make of a record.
func both(t *testing.T, r slog.Record) (want, got string) {
	t.Helper()
	var theirs, ours bytes.Buffer
	if err := slog.NewJSONHandler(&theirs, nil).Handle(context.Background(), r.Clone()); err != nil {
		t.Fatal(err)
	}
	if err := newLineHandler(&ours, nil).Handle(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	return theirs.String(), ours.String()
}

func TestLineHandler(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 7000, time.UTC)
	cases := map[string][]slog.Attr{
		"nothing":        nil,
		"plain":          {slog.String("a", "b c"), slog.Int("n", -3), slog.Bool("is", true), slog.Float64("score", 4.25)},
		"empty string":   {slog.String("a", "")},
		"floats":         {slog.Float64("a", 0), slog.Float64("b", 1e-7), slog.Float64("c", 1e21), slog.Float64("d", 123456789.5), slog.Float64("e", -0.25)},
		"no number":      {slog.Float64("a", math.NaN()), slog.Float64("b", math.Inf(1))},
		"negative 0":     {slog.Float64("a", math.Copysign(0, -1))},
		"escapes":        {slog.String("a", "say \"x\"\\\r\n\t\x01")},
		"not ASCII":      {slog.String("a", "grüße\u2028\xff\x7f")},
		"odd key":        {slog.String("grüße \"x\"", "b"), slog.String("", "c")},
		"group":          {slog.Group("g", slog.String("a", "b")), slog.Group("", slog.String("c", "d"), slog.Int("e", 1)), slog.Group("none")},
		"in a group":     {slog.Group("", slog.Group("g", slog.Int("e", 1)), slog.Any("x", []string{"y"}))},
		"any":            {slog.Any("a", []string{"b"}), slog.Any("err", errors.New("x")), slog.Any("nil", nil)},
		"others":         {slog.Duration("a", time.Second), slog.Time("b", at), slog.Uint64("c", math.MaxUint64)},
		"nothing at all": {{}},
		"long":           {slog.String("a", string(bytes.Repeat([]byte("x"), 1500)))},
	}
	for name, attrs := range cases {
		t.Run(name, func(t *testing.T) {
			for _, when := range []time.Time{at, at.In(time.FixedZone("", -5400)), {}, at.AddDate(9000, 0, 0)} {
				r := slog.NewRecord(when, slog.LevelWarn, "what", 0)
				r.AddAttrs(attrs...)
				if want, got := both(t, r); want != got {
					t.Errorf("at %v:\nwant %sgot  %s", when, want, got)
				}
			}
		})
	}
}

// TestLineHandlerWith uses what only slog's handler does: attributes and groups that all lines have.
func TestLineHandlerWith(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(newLineHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))
	log.Debug("not shown")
	log.With("a", 1).WithGroup("g").Info("shown", "b", 2)
	if got := out.String(); !bytes.HasSuffix([]byte(got), []byte(`"msg":"shown","a":1,"g":{"b":2}}`+"\n")) {
		t.Errorf("got %s", got)
	}
}

// FuzzLineHandler compares lines with those of slog's handler.
func FuzzLineHandler(f *testing.F) {
	f.Add(int64(0), "msg", "key", "value", 1.5, int64(-7), true)
	f.Add(int64(1<<61), "m\x00", "k\"", "ü\xff", math.NaN(), int64(1), false)
	f.Fuzz(func(t *testing.T, ns int64, msg, key, value string, number float64, n int64, is bool) {
		r := slog.NewRecord(time.Unix(0, ns).UTC(), slog.LevelInfo, msg, 0)
		r.AddAttrs(slog.String(key, value), slog.Group("", slog.Float64("f", number), slog.Int64(key, n)), slog.Bool("is", is))
		if want, got := both(t, r); want != got {
			t.Errorf("\nwant %sgot  %s", want, got)
		}
	})
}

func BenchmarkLineHandler(b *testing.B) {
	attrs := []slog.Attr{
		slog.String("id", "2Zq3x7GkVnWd"), slog.String("listener", "public"), slog.String("client", "192.0.2.1"),
		slog.String("helo", "mail.example.net"), slog.String("from", "a@example.net"), slog.String("to", "b@example.org"),
		slog.String("message_id", "<1@example.net>"), slog.Int("size", 4096), slog.String("action", "continue"),
		slog.Float64("score", 0), slog.Int("code", 250), slog.String("reply", "250 2.0.0 Ok: queued"), slog.Int("ms", 12),
	}
	for name, h := range map[string]slog.Handler{"slog": slog.NewJSONHandler(io.Discard, nil), "ours": newLineHandler(io.Discard, nil)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := slog.NewRecord(time.Now(), slog.LevelInfo, "delivery", 0)
				r.AddAttrs(slog.Attr{Value: slog.GroupValue(attrs...)})
				_ = h.Handle(context.Background(), r)
			}
		})
	}
}
