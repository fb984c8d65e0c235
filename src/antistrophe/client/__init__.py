"""What an application holds: orchestrators, handles and subscriptions."""
