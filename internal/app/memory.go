package app

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/ledger"
	"github.com/postern-mail/postern/internal/ledger/disk"
)

// openLedger opens the gateway's memory in the state directory. Only a newer version's is refused: mail is taken
// without it, too.
func openLedger(cfg *config.Config, log *slog.Logger) (*ledger.Ledger, error) {
	began := time.Now()
	file := disk.New(filepath.Join(cfg.State.Directory, "ledger.db"))
	l, err := ledger.Open(ledger.Options{File: file, Log: log})
	if err != nil {
		code := ExitCannotWrite
		if errors.Is(err, ledger.ErrVersion) {
			code = ExitConfig
		}
		return nil, &Exit{Code: code, Err: fmt.Errorf("postern: %w", err)}
	}
	u := l.Usage()
	if !u.Durable {
		return l, nil // why stands in the log
	}
	var n int64
	for _, t := range u.Tables {
		n += t.Records
	}
	log.Info("ledger read", "file", file.Name(), "records", n, "ms", time.Since(began).Milliseconds())
	return l, nil
}

// closeLedger writes what is left to write.
func (g *gateway) closeLedger() {
	if err := g.ledger.Close(); err != nil {
		g.log.Error("ledger not written to its end", "error", err.Error())
	}
}
