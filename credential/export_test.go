package credential

// The defaults of CacheOptions that have no exported name.
const (
	DefaultTimeout = defaultTimeout
	DefaultGrace   = defaultGrace
)

// MaxRecords is how many credentials a Cache remembers.
const MaxRecords = maxRecords

// Remembered returns how many credentials c remembers.
func Remembered(c *Cache) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.records)
}
