"""cqrs"""
