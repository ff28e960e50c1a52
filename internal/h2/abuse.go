package h2

// What a frame costs that makes us work without doing work itself, and what work earns. A connection whose
// balance reaches Config.AbuseLimit is cut off (ENHANCE_YOUR_CALM). An honest peer may send any amount of these
// frames over a connection's life as long as it also uses the connection, and as many as Forgive covers while it
// does not, such as a PING now and then beside a stream on which nothing happens.
//
//	rapid reset (CVE-2023-44487)        costReset: 200 resets without a completed stream; 2,000 of answered ones
//	made-you-reset (CVE-2025-8671)      costDriven: 200 resets we were driven to
//	SETTINGS, PING, PRIORITY floods     200, 1,000, 2,000 frames; 64 settings in a frame
//	SETTINGS and PING acknowledgements  1,000 frames that nobody asked for
//	GOAWAY                              200 frames
//	informational responses             400
//	empty DATA, empty HEADERS blocks    400 frames
//	WINDOW_UPDATE                       2,000 frames without content sent or received
//	unknown frame types                 1,000 frames
const (
	defaultAbuseLimit = 2000

	costReset    = 10
	costDriven   = 10
	costSettings = 10
	costEmpty    = 5
	costPing     = 2
	costUnknown  = 2
	costWindow   = 1
	costPriority = 1
	costLate     = 1

	workData   = 2  // a DATA frame with content, in either direction
	workStream = 20 // a stream that both sides ended
	workTime   = 40 // Forgive: 20 PINGs
)

// abuse is the balance.
type abuse struct{ balance int }

// Forgive lowers the balance for time that has passed: its owner calls it a few times a minute.
func (c *Conn) Forgive() { c.earn(workTime) }

// earn counts work.
func (a *abuse) earn(n int) { a.balance = max(0, a.balance-n) }

// spend counts a frame that carried no work.
func (c *Conn) spend(n int, reason string) error {
	if c.balance += n; c.balance >= c.cfg.AbuseLimit {
		return c.fail(ErrCodeEnhanceYourCalm, reason)
	}
	return nil
}

// queued counts control output: a peer that makes us answer must also read.
func (c *Conn) queued(n int) error {
	if c.control += n; c.control > c.cfg.MaxOutput {
		return c.fail(ErrCodeEnhanceYourCalm, "too many control frames wait for the peer to read")
	}
	return nil
}
