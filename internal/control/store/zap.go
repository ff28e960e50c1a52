package store

import (
	"log/slog"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newZap returns a logger for etcd's server that writes errors to log, and warnings as debug lines. What etcd would end
// the process for goes to fatal instead, and ends only the goroutine.
func newZap(log *slog.Logger, fatal func(reason string)) *zap.Logger {
	return zap.New(&zapBridge{log: log, fatal: fatal}, zap.WithFatalHook(zapcore.WriteThenGoexit))
}

// zapBridge is a zapcore.Core over slog.
type zapBridge struct {
	log    *slog.Logger
	fatal  func(string)
	fields []zapcore.Field
}

// Enabled implements zapcore.Core. etcd's information lines would drown the control plane's own.
func (b *zapBridge) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

// With implements zapcore.Core.
func (b *zapBridge) With(f []zapcore.Field) zapcore.Core {
	c := *b
	c.fields = append(append([]zapcore.Field(nil), b.fields...), f...)
	return &c
}

// Check implements zapcore.Core.
func (b *zapBridge) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(e.Level) {
		return ce.AddCore(e, b)
	}
	return ce
}

// Write implements zapcore.Core.
func (b *zapBridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range append(append([]zapcore.Field(nil), b.fields...), fields...) {
		f.AddTo(enc)
	}
	args := make([]any, 0, len(enc.Fields)+1)
	args = append(args, slog.String("event", e.Message))
	for k, v := range enc.Fields {
		args = append(args, slog.Any(k, v))
	}
	if e.Level >= zapcore.ErrorLevel && !onlyClosed(enc.Fields["error"]) {
		b.log.Error("embedded store", args...)
	} else {
		b.log.Debug("embedded store", args...) // what it warns of is mostly about clusters
	}
	if e.Level == zapcore.FatalLevel {
		reason := []string{e.Message}
		if err, ok := enc.Fields["error"].(string); ok {
			reason = append(reason, err)
		}
		b.fatal(strings.Join(reason, ": "))
	}
	return nil
}

// onlyClosed tells errors that are the ordinary end: a listener that was closed, as ours are.
func onlyClosed(err any) bool {
	text, _ := err.(string)
	return strings.HasSuffix(text, "erver closed") || strings.HasSuffix(text, "use of closed network connection")
}

// Sync implements zapcore.Core.
func (b *zapBridge) Sync() error { return nil }

var _ zapcore.Core = (*zapBridge)(nil)
