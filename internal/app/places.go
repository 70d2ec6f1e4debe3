package app

import "github.com/postern-mail/postern/internal/config"

// warnOfPlaces says where the system does not allow as many connections as the listeners do.
func (g *gateway) warnOfPlaces(cfg *config.Config) {
	want := 0
	for _, l := range cfg.Listeners {
		want += l.Limits.Connections
	}
	if places := placesFor(); places > 0 && want > places {
		g.log.Warn("the system's limit on open files allows fewer connections than the listeners", "connections", places)
	}
}
